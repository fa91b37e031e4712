"""Tests of the Helm chart: what it renders, what it refuses, and what an API server says to it."""
