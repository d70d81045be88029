"""What venues send, as pure functions: text in, trades out; no socket, no clock."""
