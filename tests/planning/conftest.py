"""What tests of the planner share lies beside this file, for the folders below it too."""
