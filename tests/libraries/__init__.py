"""The test suites of requests and httpx, run with circuits in between: ``make test-libraries``."""
