"""The former name of mia/report.py: `python -m reporting.report` and `python reporting/report.py` go on working."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).resolve().parent.parent / "mia" / "report.py"), run_name="__main__")
