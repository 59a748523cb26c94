"""An image folder: which directories are splits and classes, and the images in them."""
