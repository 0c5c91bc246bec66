from src.sweeps.table import SweepTable
class SearchTable(SweepTable): pass
