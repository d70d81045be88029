"""The private PostgreSQL and Redis of an instance: where they live, how they are made, how they are started."""
