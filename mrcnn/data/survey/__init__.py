"""What a data set holds, before anything is trained: errors, numbers, sizes of objects, coverage by
anchors.
"""
