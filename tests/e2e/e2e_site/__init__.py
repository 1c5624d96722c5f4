"""What the tests on a cluster with pods share: applications, their logs as they come, and the measured table."""
