"""One rule for every container: all samples decode, or the file is refused. No torch here.

A file that was cut, joined or damaged must never pass as a shorter (or longer) recording. So what
the container's own marks prove is worked out from the bytes, and the decoder has to return just
that many samples. What proves it:

* WAV, WAVEX, RF64: every byte belongs to a chunk, the data chunk's size stands in the file and
  agrees with ``fmt``; a size that was never written (a pipe) is refused.
* FLAC: STREAMINFO's sample count, and its MD5 over the samples; without an MD5 the frames add up.
  The file ends where the last frame's checksum says.
* OGG (Vorbis, Opus): each page's checksum and sequence number, one stream from its first to its
  last page, and the last page's granule position.
* MP3: the Xing, Info or VBRI frame count against a walk over every frame, less what the LAME tag
  calls padding, whose checksum is compared; without a count, the duration that a manifest gives.

A container is judged by its content, never by its name.
"""

from __future__ import annotations

from w2v_core.data.containers import flac, mp3, ogg, wav
from w2v_core.data.containers.marks import DamageError, Marks
from w2v_core.data.containers.tags import audio_start

__all__ = ["DamageError", "Marks", "read_marks"]


def read_marks(
    data: bytes, *, container: str, rate_hz: int, duration_s: float | None = None
) -> Marks:
    """Work out what a whole file must decode to.

    Args:
        data: The file's bytes.
        container: libsndfile's name: ``WAV``, ``WAVEX``, ``RF64``, ``FLAC``, ``OGG`` or ``MP3``.
        rate_hz: The rate that libsndfile decodes it to.
        duration_s: What a manifest says of it, if any.

    Raises:
        DamageError: the marks contradict each other or the content, or prove no length.
    """
    start = audio_start(data)
    if container == "FLAC":
        return flac.read_marks(data, start=start)
    if container == "OGG":
        return Marks(num_samples=ogg.count_samples(data, rate_hz=rate_hz))
    if container == "MP3":
        return Marks(num_samples=mp3.count_samples(data, start=start, duration_s=duration_s))
    return Marks(num_samples=wav.count_samples(data, start=start))
