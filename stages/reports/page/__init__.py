"""metrics/report.html: everything that a run says about itself, in one file that needs nothing else.

``content`` says what goes on the page, ``views`` and ``grid`` turn it into what the templates (*.html) show, ``charts``
draws, ``thumbnails`` makes pictures small, ``assemble`` puts it all into one file.
"""
