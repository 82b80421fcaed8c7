"""What people look at: ``draw`` makes images and plots, ``pages`` the report of a run and the comparison of several."""
