"""What runs the house: the command line, the embedded servers, the simulated exchange, the supervision."""
