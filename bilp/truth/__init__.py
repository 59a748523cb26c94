"""What is true of a data set whose labels were made wrong on purpose, and how well a score tells what is wrong.

For those that judge and show results alone: nothing that scores, prunes, distills or trains may import this room.
"""
