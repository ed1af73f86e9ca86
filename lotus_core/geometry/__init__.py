"""Cameras, points, normals and surfaces in the OpenCV frame."""
