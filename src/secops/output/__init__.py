"""What people and programs get to see: tables, JSON, CSV, Markdown, HTML, progress, errors.

This package is the one place that makes text from outside safe to show. Importing it is cheap; what draws
is imported when something is drawn.
"""

from secops.output.formats import Format, wanted_format
from secops.output.writer import Output

__all__ = ["Format", "Output", "wanted_format"]
