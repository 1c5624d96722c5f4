"""The chart as people use it: helm as a process, and a release whose programs run beside a real API server."""
