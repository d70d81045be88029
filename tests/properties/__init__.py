"""Laws that hold for whatever prices there are."""
