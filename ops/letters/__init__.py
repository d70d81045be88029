"""Dead letters: the table of rows that were none (`shelf`), and their way back into the stream (`replay`, `uploads`)."""
