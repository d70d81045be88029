"""Tests: unit (mirrors the tree), properties, contracts, processes, web, ops; against real servers only."""
