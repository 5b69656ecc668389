"""Distillation of training pairs: which labelled pairs look like real rain and are whole."""
