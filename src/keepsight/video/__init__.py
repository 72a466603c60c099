"""Frames in and out: files, folders of images, cameras and streams; writers and clip cutting."""

from keepsight.video.ahead import prefetch
from keepsight.video.clip import cut_clip
from keepsight.video.opening import open_video
from keepsight.video.source import ArrayVideo, VideoSource
from keepsight.video.writer import VideoWriter

__all__ = ["ArrayVideo", "VideoSource", "VideoWriter", "cut_clip", "open_video", "prefetch"]
