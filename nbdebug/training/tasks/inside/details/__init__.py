"""Details of one part of the network: values, filters, attention and units."""
