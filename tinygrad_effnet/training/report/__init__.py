"""What a run leaves for people: tables, sheets of mistakes, one page with everything."""

from .lines import append_line, peak_memory
from .mistakes import confused_pairs, pairs_sheet, worst_sheet
from .page import write_page
from .summary import write_report
from .tables import per_class_table, predictions_table

__all__ = [
    "append_line",
    "confused_pairs",
    "pairs_sheet",
    "peak_memory",
    "per_class_table",
    "predictions_table",
    "worst_sheet",
    "write_page",
    "write_report",
]
