"""Measurements that `make bench` runs, each printing ratios and limits."""
