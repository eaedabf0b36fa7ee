"""What tests share: places, samples, and files made to order."""
