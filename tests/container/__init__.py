"""The image, built and run as a cluster would run it: `make image-test`. Needs root on Linux, and the programs in engine.NEEDED."""
