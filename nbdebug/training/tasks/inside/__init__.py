"""Views inside the network on fixed samples: pictures, predictions, explanations."""
