"""What the service promises under load and faults, tried on the real process: `make soak`. The tests here are of the pure parts."""
