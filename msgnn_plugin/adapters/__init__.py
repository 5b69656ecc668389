"""What plugs the networks into toolboxes; nothing else here knows any of them."""
