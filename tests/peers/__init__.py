"""The trainers' own readers, held against our shards: ``make test-peers``; not part of the test suite."""
