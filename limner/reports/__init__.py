"""Pages about runs: ``report.html`` of one, the comparison of several, and the model card."""

from limner.reports.pages import REPORT, write_comparison, write_run_pages
from limner.reports.run_view import Portrait

__all__ = ["REPORT", "Portrait", "write_comparison", "write_run_pages"]
