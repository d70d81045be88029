"""SQL of the read routes: each function answers the JSON text that PostgreSQL builds."""
