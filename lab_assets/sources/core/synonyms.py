"""Other names of the contracts' columns, and which column an unknown name may be.

Belongs here: names that LIMS, spreadsheets and loggers give the same thing, in English and German, and likeness of spelling. A proposal is
only ever a proposal: a person accepts it before it counts. Does not belong here: what was accepted, or what a missing column costs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Final, Literal


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS: Final[dict[str, str]] = {
    "lot_id": "lot lot_no lot_nr lot_number lotnumber batch batch_id batch_no batch_nr batch_number batch_name charge charge_nr chargen_nr"
    " chargennummer chargen_id charg los losnummer",
    "product": "product_code product_id product_name product_no item item_code item_no material material_no material_number material_code"
    " matnr sku article article_no produkt produktcode produktnummer artikel artikelnummer materialnummer",
    "customer": "client client_name customer_name customer_id sponsor account kunde kundenname auftraggeber",
    "formulation": "composition recipe formula rezeptur zusammensetzung formulierung",
    "site": "plant location manufacturing_site production_site facility werk standort betriebsstaette betriebsstätte",
    "manufactured_at_utc": "manufactured manufacture_date manufacturing_date mfg_date date_of_manufacture production_date produced_at"
    " herstelldatum herstellungsdatum produktionsdatum hsdat",
    "batch_size_kg": "batch_size lot_size batch_quantity lot_quantity chargengröße chargengroesse losgröße losgroesse ansatzgröße",
    "recorded_at_utc": "recorded recorded_on record_date recorded_date entered_on entry_date date_entered created created_at created_on"
    " changed_on changed_at modified_on last_modified updated_at timestamp exported_at erfasst_am erfassungsdatum eingegeben_am"
    " angelegt_am geändert_am",
    "sample_name": "sample sample_id sample_no sample_nr sample_number sample_code sample_identifier sampleidentifier s_sampleid text_id"
    " specimen_id probe probe_nr proben_nr probennummer proben_id probenname probenbezeichnung prüfmuster",
    "sample_type": "type_of_sample sample_category reason_for_test test_reason probenart probentyp prüfgrund",
    "storage_condition": "condition stability_condition storage lagerbedingung lagerungsbedingung lagerung",
    "chamber_id": "chamber chamber_no chamber_name incubator kammer kammer_id klimakammer klimaschrank",
    "timepoint_months": "timepoint time_point pull_point age storage_time interval prüfzeitpunkt pruefzeitpunkt lagerdauer lagerzeit",
    "stored_at_utc": "stored stored_on storage_start start_date t0_date einlagerung eingelagert_am einlagerungsdatum",
    "sampled_at_utc": "sampled sampled_on sample_date sampling_date date_sampled collected_at collection_date pull_date probenahme"
    " probenahmedatum gezogen_am entnahmedatum",
    "retest_of": "original_sample parent_sample retest_for nachprüfung_von wiederholung_von",
    "analyst": "analyst_name tested_by technician chemist analytiker prüfer pruefer laborant bearbeiter",
    "patient_initials": "patient initials patienteninitialen",
    "sequence_id": "sequence sequence_no sequence_name run run_id run_no worklist worklist_id worklist_no sample_set sample_set_id"
    " sequenz sequenz_nr arbeitsliste",
    "injection_name": "injection injection_id inj_name data_file datafile file_name result_file einspritzung injektion injektionsname",
    "position": "pos line line_no row_no order order_no seq_no injection_no inj_no vial_order reihenfolge lfd_nr laufende_nummer",
    "sample_role": "role injection_type inj_type vial_type sample_function rolle probenrolle",
    "replicate": "rep rep_no replicate_no replicate_number prep preparation preparation_no repetition wiederholung einwaage_nr doppelbestimmung",
    "method_id": "method method_no method_code method_name test test_id test_code test_name test_method testmethod procedure analysis"
    " methode methoden_nr methodennummer prüfmethode pruefmethode prüfvorschrift test_nr",
    "instrument_id": "instrument instrument_no instrument_name equipment equipment_id equipment_no device device_id asset_id system"
    " system_name gerät geraet geräte_nr geräte_id gerätenummer equi",
    "column_id": "column column_no column_serial column_serial_no column_sn säule saeule säulen_nr säulennummer",
    "weight_mg": "weight sample_weight weighed_amount weight_taken weighing net_weight mass einwaage gewicht probengewicht masse",
    "nominal_weight_mg": "nominal_weight target_weight theoretical_weight required_weight soll_einwaage sollgewicht sollmasse",
    "standard_purity_pct": "standard_purity purity potency standard_potency assay_of_standard reinheit standardreinheit gehalt_standard",
    "result_id": "result_no result_number result_nr ergebnis_id ergebnis_nr ergebnisnummer",
    "analyte": "component component_name compound compound_name parameter parameter_name substance determination impurity peak_name"
    " analysis_component komponente verbindung substanz wirkstoff merkmal prüfmerkmal pruefmerkmal analyt",
    "value": "result result_value reported_result numeric_result numerical_result test_result measured_value reading formatted_entry entry"
    " final_result ergebnis messwert wert ergebniswert",
    "unit": "units uom unit_of_measure result_unit result_units display_unit einheit masseinheit maßeinheit",
    "measured_at_utc": "measured measured_on measurement_date tested_on test_date date_tested analysis_date analysed_on analyzed_on"
    " date_completed completed_on gemessen_am messdatum prüfdatum pruefdatum analysendatum",
    "event_id": "event_no event_number entry_no transaction_id ereignis_id ereignis_nr",
    "event": "step status action activity event_type event_name status_change ereignis schritt vorgang",
    "at_utc": "at event_date event_time done_at done_on date_time occurred_at performed_on zeitpunkt ereignisdatum durchgeführt_am",
    "performed_by": "done_by operator executed_by responsible calibrated_by durchgeführt_von ausgeführt_von kalibriert_von",
    "spec_id": "spec spec_no specification specification_id specification_no spezifikation spezifikations_nr",
    "spec_low": "low lower lower_limit lower_spec lower_spec_limit lsl spec_lower speclower min_limit minimum limit_low min_value"
    " untergrenze untere_grenze unterer_grenzwert untere_spezifikationsgrenze",
    "spec_high": "high upper upper_limit upper_spec upper_spec_limit usl spec_upper specupper max_limit maximum limit_high max_value"
    " obergrenze obere_grenze oberer_grenzwert obere_spezifikationsgrenze",
    "effective_from_utc": "effective effective_date effective_from valid_from start_of_validity gültig_ab gueltig_ab gültig_von wirksam_ab",
    "certificate_id": "certificate certificate_no certificate_number cert_no cert_id zertifikat zertifikat_nr zertifikatsnummer"
    " kalibrierschein kalibrierschein_nr",
    "parameter": "quantity characteristic calibrated_parameter measurand messgröße messgroesse kenngröße parametername",
    "deviation": "error difference measured_deviation as_found_error bias abweichung messabweichung differenz",
    "tolerance": "limit acceptance_limit max_deviation permitted_deviation mpe toleranz grenzabweichung fehlergrenze",
    "outcome": "result status pass_fail verdict conclusion judgement judgment passed ergebnis bewertung urteil",
    "performed_at_utc": "performed performed_on calibration_date calibrated_on calibrated_at date_of_calibration kalibrierdatum"
    " kalibriert_am durchgeführt_am",
    "valid_until_utc": "valid_until valid_to due_date next_calibration calibration_due next_due expires_on expiry_date gültig_bis"
    " gueltig_bis nächste_kalibrierung fällig_am",
    "method_name": "method method_id processing_method methode auswertemethode methodenname",
    "channel": "detector signal detector_channel trace kanal detektor",
    "integration": "integration_mode integration_type integrationsart",
    "window_start": "start start_time rt_start peak_start window_from from fenster_start fenster_von",
    "window_end": "end end_time stop rt_end peak_end window_to to fenster_ende fenster_bis",
    "window_unit": "time_unit unit_of_window fenster_einheit",
    "calibration": "calibration_mode calibration_type kalibrierung kalibrierart",
    "slope": "gradient response_slope steigung",
    "intercept": "offset y_intercept achsenabschnitt",
    "relative_response": "rrf relative_response_factor response_factor correction_factor responsefaktor",
    "reference_analyte": "reference_compound main_component reference bezugssubstanz referenz",
    "result_unit": "amount_unit concentration_unit conc_unit ergebniseinheit",
    "temperature_c": "temperature temp t temp_ist chamber_temperature air_temperature probe_temperature sensor_temperature temp_sensor"
    " actual_temperature measured_temperature temperatur isttemperatur innentemperatur",
    "humidity_pct": "humidity rh rel_humidity relative_humidity hum moisture actual_humidity measured_humidity feuchte luftfeuchte"
    " luftfeuchtigkeit relative_feuchte relative_luftfeuchte istfeuchte",
    "set_temperature_c": "set_temperature setpoint_temperature temperature_setpoint temp_setpoint nominal_temperature target_temperature"
    " solltemperatur temperatur_soll",
    "set_humidity_pct": "set_humidity setpoint_humidity humidity_setpoint rh_setpoint nominal_humidity target_humidity sollfeuchte"
    " feuchte_soll",
    "read_at_text": "time timestamp date_time datetime recorded recorded_at logged logged_at sample_time measured_at scan_time zeit"
    " zeitstempel zeitpunkt messzeit messzeitpunkt erfasst_am aufgezeichnet_am datum_uhrzeit",
}
SYNONYMS: Final[dict[str, frozenset[str]]] = {column: _words(words) for column, words in _WORDS.items()}
"""By contract column: other names of it, normalised, without unit."""

UNITS: Final = _words(
    "kg g mg ug µg ng lb oz l ml ul µl pct percent ppm ppb fraction ratio months weeks days years h min s ms c f k degc degf bar psi pa hpa"
    " kpa mpa"
)
"""Units that a normalised column name may end with."""
_SAME_UNIT: Final = {"percent": "pct", "µg": "ug", "µl": "ul", "degc": "c", "°c": "c", "degf": "f", "°f": "f", "%": "pct"}
_ROLE_WORDS: Final = _words("at by id name no nr low high start end from until to set nominal min max type role unit of text lower upper")
"""Words whose presence makes another column of an otherwise like name: ``performed_by`` is no ``performed_at``."""
_CLOSE: Final = 0.84
"""Least likeness of two spellings, from 0 to 1; one wrong letter in six stays above."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A contract column that an unknown name may be.

    Attributes:
        column: The contract's column.
        reason: ``synonym`` for another name of it, ``spelling`` for a like one, ``unit`` when it would be that column in another unit.
    """

    column: str
    reason: Literal["synonym", "spelling", "unit"]


@lru_cache(maxsize=4096)
def base_and_unit(name: str) -> tuple[str, str | None]:
    """Return a normalised column name without its unit, and the unit in one spelling; ``_utc`` counts as neither.

    Args:
        name: Such as ``weight_mg`` or ``recorded_at_utc``.
    """
    base, _, suffix = name.rpartition("_")
    if base and suffix == "utc":
        return base, None
    if base and (suffix in UNITS or suffix in _SAME_UNIT):
        return base, _SAME_UNIT.get(suffix, suffix)
    return name, None


@lru_cache(maxsize=1 << 16)
def is_synonym(name: str, column: str) -> bool:
    """Tell whether a normalised name is a known other name of a contract column, units and signs between words put aside."""
    known = _squashed_names(column)
    return _squashed(base_and_unit(name)[0]) in known or _squashed(name) in known


def propose(name: str, columns: Sequence[str]) -> Proposal | None:
    """Return the contract column that an unknown name may be.

    Args:
        name: Normalised name as the file writes it.
        columns: Contract columns that the file lacks.

    Returns:
        The likeliest column, or ``None``. Units must agree: ``weight_g`` is reported as ``weight_mg`` in another unit, never proposed for
        it, and a name with a unit is proposed for no column without one.
    """
    found = next((Proposal(column=column, reason="synonym") for column in columns if is_synonym(name, column)), None)
    if found is None:
        ranked = sorted(((_likeness(name, column), column) for column in columns), reverse=True)
        if not ranked or ranked[0][0] < _CLOSE:
            return None
        found = Proposal(column=ranked[0][1], reason="spelling")
    stated, agreed = base_and_unit(name)[1], base_and_unit(found.column)[1]
    if stated is None or stated == agreed:
        return found
    return Proposal(column=found.column, reason="unit") if agreed else None


def _likeness(name: str, column: str) -> float:
    """Return how alike two names are spelled, 0 to 1; 0 when they differ by a word that changes the meaning."""
    base, own = base_and_unit(name)[0], base_and_unit(column)[0]
    if min(len(base), len(own)) < 4 or len(base) > 2 * len(own) or re.findall(r"\d+", base) != re.findall(r"\d+", own):
        return 0.0  # a second probe is not the first one misspelled
    ours, theirs = set(base.split("_")), set(own.split("_"))
    if _differs_by_role(ours - theirs, theirs - ours) or _differs_by_role(theirs - ours, ours - theirs):
        return 0.0
    return SequenceMatcher(None, base, own).ratio()


def _differs_by_role(words: set[str], others: set[str]) -> bool:
    """Tell whether one of the words gives a column its role and is no misspelling of one of the others, nor they of it."""
    slips = others - _ROLE_WORDS
    return any(not any(SequenceMatcher(None, word, other).ratio() >= 0.8 for other in slips) for word in words & _ROLE_WORDS)


def _squashed(name: str) -> str:
    return re.sub(r"[\W_]+", "", name)


@lru_cache(maxsize=256)
def _squashed_names(column: str) -> frozenset[str]:
    own = {column, base_and_unit(column)[0]}
    return frozenset(map(_squashed, own | SYNONYMS.get(column, frozenset())))
