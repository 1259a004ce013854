"""Carrying out decisions on invoices: claims, attempts and answers, so that none is charged twice.

Open invoices are followed from the lake (:mod:`.book`), what each needs next is a function of its
rows (:mod:`.bill`), one scheduler at a time may act on one (:mod:`.claims`), and the processor is
asked over HTTP (:mod:`.http_gateway`) by :class:`.charger.Charger`. What processors report later
comes in like all reports (:mod:`matinee.service.reports`).
"""
