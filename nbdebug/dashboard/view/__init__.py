"""The one-way view of a Bokeh document: Python, JavaScript, CSS."""
