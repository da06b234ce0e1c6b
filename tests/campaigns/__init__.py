"""Campaigns: commands that try for long what the tests try for seconds, and print counts."""
