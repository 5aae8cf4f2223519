"""What the project costs, measured beside its peers and the physical floor.

harness/   how it is measured, judged and shown
figures/   what is measured: one file for each figure
run        the command
"""
