"""What the command shows and does: progress, tables, pages; solve, describe, report, demo."""
