"""What people touch in notebooks: controls with headless twins, the lane map, exercises."""
