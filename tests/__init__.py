"""Tests. What needs an absent component is skipped, unless `LAB_TEST_REQUIRE` says that it must be there."""
