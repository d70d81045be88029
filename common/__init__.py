"""What all services share, and that knows none of them: domain types, the judge, settings, stream, database, lifecycle."""
