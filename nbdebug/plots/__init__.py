"""One kit of figures for dashboard, reports and comparisons; Bokeh only."""
