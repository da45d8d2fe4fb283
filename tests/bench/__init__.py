"""`make bench` and what it is made of. What is set here is set before any library is imported, here and in every child."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # a core is measured, not a machine
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as the service does; a report to onnxruntime's maker would be measured too
