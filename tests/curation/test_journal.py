import multiprocessing

import pytest

from msgnn_plugin.curation.journal import open_journal


def test_records_come_back(tmp_path):
    file = tmp_path / "a" / "unit.jsonl"
    with open_journal(file) as journal:
        journal.add({"number": 3, "value": 0.1})
        journal.add({"number": 4, "value": None})
    with open_journal(file) as journal:
        assert journal.known == {3: {"number": 3, "value": 0.1}, 4: {"number": 4, "value": None}}


@pytest.mark.parametrize("torn", [b'{"number": 5, "val', b'{"number": 5}', b"\0\0\0\0\n"])
def test_a_last_line_cut_short_is_taken_away(tmp_path, torn):
    file = tmp_path / "unit.jsonl"
    with open_journal(file) as journal:
        journal.add({"number": 1})
    whole = file.read_bytes()
    file.write_bytes(whole + torn)
    with open_journal(file) as journal:
        assert list(journal.known) == [1]
        journal.add({"number": 2})
    assert file.read_bytes() == whole + b'{"number": 2}\n'


def _hold(file, began, may_end):
    with open_journal(file) as journal:
        began.set()
        may_end.wait(20)
        journal.add({"number": 1})


def test_a_worker_that_outlived_its_command_is_waited_for(tmp_path):
    context = multiprocessing.get_context("spawn")
    began, may_end = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "unit.jsonl", began, may_end))
    process.start()
    assert began.wait(30)
    may_end.set()
    with open_journal(tmp_path / "unit.jsonl") as journal:
        assert list(journal.known) == [1]
    process.join()
