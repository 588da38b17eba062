"""Floor 3: the dashboard, its pump and its panels. ipywidgets and Bokeh only, no torch."""
