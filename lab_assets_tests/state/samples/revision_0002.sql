BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE approvals (
	approval_id INTEGER NOT NULL, 
	model_name VARCHAR(128) NOT NULL, 
	model_version VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	metrics JSON NOT NULL, 
	data_versions JSON NOT NULL, 
	evidence_digest VARCHAR(64) NOT NULL, 
	trained_by VARCHAR(128) NOT NULL, 
	submitted_by VARCHAR(128) NOT NULL, 
	submitted_at VARCHAR(32) NOT NULL, 
	submit_reason TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	decided_by VARCHAR(128), 
	decided_at VARCHAR(32), 
	decision_reason TEXT, 
	CONSTRAINT pk_approvals PRIMARY KEY (approval_id), 
	CONSTRAINT ck_approvals_state CHECK (state in ('submitted', 'approved', 'rejected'))
);
INSERT INTO "approvals" VALUES(1,'oos_risk','1','7777777777777777777777777777777777777777777777777777777777777777','{"auc": 0.9}','{"ml.training_sets": 2}','8888888888888888888888888888888888888888888888888888888888888888','bob','bob','2026-01-01T00:00:00.000000+00:00','it''s good','approved','ann','2026-01-02T00:00:00.000000+00:00','agreed');
CREATE TABLE arrivals (
	arrival_id INTEGER NOT NULL, 
	source VARCHAR(255) NOT NULL, 
	file_name TEXT NOT NULL, 
	size BIGINT, 
	mtime_ns BIGINT, 
	ctime_ns BIGINT, 
	file_id VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	format VARCHAR(64), 
	rule VARCHAR(64), 
	reason TEXT, 
	place TEXT, 
	supersedes VARCHAR(64), 
	duplicate_of TEXT, 
	member_of VARCHAR(64), 
	warnings JSON NOT NULL, 
	rows_parsed JSON NOT NULL, 
	rows_rejected JSON NOT NULL, 
	batch INTEGER, 
	arrived_at VARCHAR(32) NOT NULL, 
	retry_of INTEGER, 
	CONSTRAINT pk_arrivals PRIMARY KEY (arrival_id), 
	CONSTRAINT ck_arrivals_state CHECK (state in ('received', 'committed', 'quarantined', 'duplicate', 'vanished', 'discarded')), 
	CONSTRAINT fk_arrivals_batch_ingest_batches FOREIGN KEY(batch) REFERENCES ingest_batches (batch), 
	CONSTRAINT fk_arrivals_retry_of_arrivals FOREIGN KEY(retry_of) REFERENCES arrivals (arrival_id)
);
INSERT INTO "arrivals" VALUES(1,'hplc-1','a.txt',3,1,1,'1111111111111111111111111111111111111111111111111111111111111111','committed','arw',NULL,NULL,NULL,NULL,NULL,NULL,'[]','{"chromatograms": 1}','{}',1,'2026-11-29T21:40:01.753480+00:00',NULL);
INSERT INTO "arrivals" VALUES(2,'hplc-1','copy.txt',3,1,1,'1111111111111111111111111111111111111111111111111111111111111111','duplicate',NULL,NULL,'same bytes as hplc-1/a.txt',NULL,NULL,'hplc-1/a.txt',NULL,'[]','{}','{}',1,'2026-11-29T21:40:01.755459+00:00',NULL);
INSERT INTO "arrivals" VALUES(3,'hplc-1','b.eln',3,1,1,'2222222222222222222222222222222222222222222222222222222222222222','committed','eln',NULL,NULL,NULL,NULL,NULL,NULL,'["a word"]','{}','{}',1,'2026-11-29T21:40:01.755690+00:00',NULL);
INSERT INTO "arrivals" VALUES(4,'hplc-1','c.txt',3,1,1,'3333333333333333333333333333333333333333333333333333333333333333','discarded',NULL,'truncated','it''s cut','line 7',NULL,NULL,NULL,'[]','{}','{}',1,'2026-11-29T21:40:01.755916+00:00',NULL);
INSERT INTO "arrivals" VALUES(5,'hplc-1','b.eln!/inner.csv',9,1,1,'4444444444444444444444444444444444444444444444444444444444444444','received',NULL,NULL,NULL,NULL,NULL,NULL,'2222222222222222222222222222222222222222222222222222222222222222','[]','{}','{}',2,'2026-11-29T21:40:01.762088+00:00',NULL);
INSERT INTO "arrivals" VALUES(6,'hplc-1','c.txt',3,1,1,'3333333333333333333333333333333333333333333333333333333333333333','received',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]','{}','{}',NULL,'2026-11-29T21:40:01.767544+00:00',4);
INSERT INTO "arrivals" VALUES(7,'hplc-1','a.txt',3,1,1,'5555555555555555555555555555555555555555555555555555555555555555','received',NULL,NULL,NULL,NULL,'1111111111111111111111111111111111111111111111111111111111111111',NULL,NULL,'[]','{}','{}',NULL,'2026-11-29T21:40:01.773810+00:00',NULL);
CREATE TABLE audit (
	seq INTEGER NOT NULL, 
	at_utc VARCHAR(32) NOT NULL, 
	actor VARCHAR(128) NOT NULL, 
	action VARCHAR(64) NOT NULL, 
	object VARCHAR(512) NOT NULL, 
	old TEXT, 
	new TEXT, 
	reason TEXT NOT NULL, 
	origin VARCHAR(256) NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	prev_hash VARCHAR(64) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (seq)
);
INSERT INTO "audit" VALUES(1,'2026-11-29T21:40:01.745770+00:00','system:test','user.create','user:ann',NULL,'{"roles":["qa"]}','test','','','0000000000000000000000000000000000000000000000000000000000000000','2bf3c139ff84385695ffcef2b57d4f657870de59ebf4e46de9c2dad59aef060b');
INSERT INTO "audit" VALUES(2,'2026-11-29T21:40:01.748619+00:00','system:test','user.create','user:bob',NULL,'{"roles":["analyst","scientist"]}','test','','','2bf3c139ff84385695ffcef2b57d4f657870de59ebf4e46de9c2dad59aef060b','a92cfddf6a5aeec02d14e1317c6d78a9848833154e7b3a75fbc1c93010676249');
INSERT INTO "audit" VALUES(3,'2026-11-29T21:40:01.751236+00:00','ann','session.begin','user:ann',NULL,NULL,'','cli','','a92cfddf6a5aeec02d14e1317c6d78a9848833154e7b3a75fbc1c93010676249','102262b9fa00b6b8cfd09bf45d2695c1212bbc3c02cc3592155cebed276ef2c8');
INSERT INTO "audit" VALUES(4,'2026-11-29T21:40:01.774498+00:00','service:ingest','file.revise','arrival:7','{"file_id":"1111111111111111111111111111111111111111111111111111111111111111"}','{"file":"hplc-1/a.txt","file_id":"5555555555555555555555555555555555555555555555555555555555555555"}','other bytes arrived under a known path; both are kept','ingest','','102262b9fa00b6b8cfd09bf45d2695c1212bbc3c02cc3592155cebed276ef2c8','7c60c96e6749f62e531e07dffaa05ef72c726e05499c9aea04010485ee47a57d');
CREATE TABLE clearances (
	role VARCHAR(64) NOT NULL, 
	tag VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_clearances PRIMARY KEY (role, tag), 
	CONSTRAINT fk_clearances_role_roles FOREIGN KEY(role) REFERENCES roles (name)
);
INSERT INTO "clearances" VALUES('qa','personal_name');
INSERT INTO "clearances" VALUES('qa','customer');
INSERT INTO "clearances" VALUES('qa','patient');
INSERT INTO "clearances" VALUES('qa','formulation');
INSERT INTO "clearances" VALUES('qc_lead','personal_name');
CREATE TABLE column_tags (
	securable VARCHAR(255) NOT NULL, 
	tag VARCHAR(64) NOT NULL, 
	state VARCHAR(8) NOT NULL, 
	set_by VARCHAR(128) NOT NULL, 
	set_at VARCHAR(32) NOT NULL, 
	reason TEXT NOT NULL, 
	CONSTRAINT pk_column_tags PRIMARY KEY (securable, tag), 
	CONSTRAINT ck_column_tags_state CHECK (state in ('set', 'removed'))
);
CREATE TABLE current_paths (
	source VARCHAR(255) NOT NULL, 
	file_name VARCHAR(1024) NOT NULL, 
	size BIGINT NOT NULL, 
	mtime_ns BIGINT NOT NULL, 
	ctime_ns BIGINT NOT NULL, 
	file_id VARCHAR(64) NOT NULL, 
	arrival_id INTEGER NOT NULL, 
	CONSTRAINT pk_current_paths PRIMARY KEY (source, file_name)
);
INSERT INTO "current_paths" VALUES('hplc-1','a.txt',3,1,1,'5555555555555555555555555555555555555555555555555555555555555555',7);
INSERT INTO "current_paths" VALUES('hplc-1','copy.txt',3,1,1,'1111111111111111111111111111111111111111111111111111111111111111',2);
INSERT INTO "current_paths" VALUES('hplc-1','b.eln',3,1,1,'2222222222222222222222222222222222222222222222222222222222222222',3);
INSERT INTO "current_paths" VALUES('hplc-1','c.txt',3,1,1,'3333333333333333333333333333333333333333333333333333333333333333',4);
INSERT INTO "current_paths" VALUES('hplc-1','b.eln!/inner.csv',9,1,1,'4444444444444444444444444444444444444444444444444444444444444444',5);
CREATE TABLE data_files (
	table_name VARCHAR(128) NOT NULL, 
	path VARCHAR(512) NOT NULL, 
	version BIGINT NOT NULL, 
	size BIGINT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_data_files PRIMARY KEY (table_name, path)
);
INSERT INTO "data_files" VALUES('bronze.files','part-0.parquet',1,10,'6666666666666666666666666666666666666666666666666666666666666666');
CREATE TABLE grants (
	grant_id INTEGER NOT NULL, 
	securable VARCHAR(255) NOT NULL, 
	principal VARCHAR(80) NOT NULL, 
	privilege VARCHAR(16) NOT NULL, 
	granted_by VARCHAR(128) NOT NULL, 
	granted_at VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_grants PRIMARY KEY (grant_id), 
	CONSTRAINT uq_grants_securable UNIQUE (securable, principal, privilege), 
	CONSTRAINT ck_grants_privilege CHECK (privilege in ('BROWSE', 'SELECT', 'MODIFY', 'MANAGE', 'EXECUTE', 'APPROVE', 'TRAIN'))
);
INSERT INTO "grants" VALUES(1,'lab','role:viewer','BROWSE','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(2,'lab.gold','role:viewer','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(3,'lab','role:analyst','BROWSE','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(4,'lab.bronze','role:analyst','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(5,'lab.silver','role:analyst','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(6,'lab.gold','role:analyst','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(7,'lab.features','role:analyst','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(8,'lab.ml','role:analyst','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(9,'lab.governance.lineage','role:analyst','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(10,'lab','role:analyst','EXECUTE','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(11,'lab','role:scientist','BROWSE','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(12,'lab.bronze','role:scientist','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(13,'lab.silver','role:scientist','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(14,'lab.gold','role:scientist','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(15,'lab.features','role:scientist','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(16,'lab.ml','role:scientist','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(17,'lab.governance.lineage','role:scientist','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(18,'lab','role:scientist','EXECUTE','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(19,'lab','role:scientist','TRAIN','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(20,'lab','role:qc_lead','BROWSE','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(21,'lab.bronze','role:qc_lead','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(22,'lab.silver','role:qc_lead','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(23,'lab.gold','role:qc_lead','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(24,'lab.features','role:qc_lead','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(25,'lab.ml','role:qc_lead','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(26,'lab.governance.lineage','role:qc_lead','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(27,'lab','role:qc_lead','EXECUTE','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(28,'lab','role:qa','BROWSE','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(29,'lab','role:qa','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(30,'lab','role:qa','EXECUTE','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(31,'lab','role:qa','APPROVE','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(32,'lab','role:admin','BROWSE','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(33,'lab','role:admin','SELECT','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(34,'lab','role:admin','MANAGE','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "grants" VALUES(35,'lab','role:admin','EXECUTE','system:install','2026-11-29T21:40:01.736516+00:00');
CREATE TABLE ingest_batches (
	batch INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	opened_at VARCHAR(32) NOT NULL, 
	committed_at VARCHAR(32), 
	table_versions JSON NOT NULL, 
	CONSTRAINT pk_ingest_batches PRIMARY KEY (batch), 
	CONSTRAINT ck_ingest_batches_state CHECK (state in ('open', 'staged', 'committed'))
);
INSERT INTO "ingest_batches" VALUES(1,'committed','2026-11-29T21:40:01.757185+00:00','2026-11-29T21:40:01.764761+00:00','{"bronze.files": 1}');
INSERT INTO "ingest_batches" VALUES(2,'open','2026-11-29T21:40:01.769661+00:00',NULL,'{}');
CREATE TABLE lineage_outbox (
	entry INTEGER NOT NULL, 
	derivation JSON NOT NULL, 
	CONSTRAINT pk_lineage_outbox PRIMARY KEY (entry)
);
CREATE TABLE mask_policies (
	tag VARCHAR(64) NOT NULL, 
	method VARCHAR(16) NOT NULL, 
	set_by VARCHAR(128) NOT NULL, 
	set_at VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_mask_policies PRIMARY KEY (tag), 
	CONSTRAINT ck_mask_policies_method CHECK (method in ('null', 'redact', 'pseudonym'))
);
INSERT INTO "mask_policies" VALUES('personal_name','pseudonym','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "mask_policies" VALUES('customer','redact','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "mask_policies" VALUES('patient','null','system:install','2026-11-29T21:40:01.736516+00:00');
INSERT INTO "mask_policies" VALUES('formulation','redact','system:install','2026-11-29T21:40:01.736516+00:00');
CREATE TABLE owners (
	securable VARCHAR(255) NOT NULL, 
	principal VARCHAR(80) NOT NULL, 
	set_by VARCHAR(128) NOT NULL, 
	set_at VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_owners PRIMARY KEY (securable)
);
CREATE TABLE policy_state (
	one INTEGER NOT NULL, 
	version BIGINT NOT NULL, 
	CONSTRAINT pk_policy_state PRIMARY KEY (one), 
	CONSTRAINT ck_policy_state_one CHECK (one = 1)
);
INSERT INTO "policy_state" VALUES(1,3);
CREATE TABLE quarantine_events (
	event_id INTEGER NOT NULL, 
	arrival_id INTEGER NOT NULL, 
	event VARCHAR(16) NOT NULL, 
	rule VARCHAR(64), 
	reason TEXT, 
	place TEXT, 
	mend TEXT, 
	at_utc VARCHAR(32) NOT NULL, 
	"by" VARCHAR(128) NOT NULL, 
	CONSTRAINT pk_quarantine_events PRIMARY KEY (event_id), 
	CONSTRAINT ck_quarantine_events_event CHECK (event in ('quarantined', 'retried', 'discarded')), 
	CONSTRAINT fk_quarantine_events_arrival_id_arrivals FOREIGN KEY(arrival_id) REFERENCES arrivals (arrival_id)
);
INSERT INTO "quarantine_events" VALUES(1,4,'quarantined','truncated','it''s cut','line 7','Export or transfer the file again and drop it under the same name; the new bytes take this one''s place.','2026-11-29T21:40:01.762294+00:00','service:ingest');
INSERT INTO "quarantine_events" VALUES(2,4,'retried','truncated','mended',NULL,NULL,'2026-11-29T21:40:01.767158+00:00','shell:qa');
CREATE TABLE role_members (
	role VARCHAR(64) NOT NULL, 
	user VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_role_members PRIMARY KEY (role, user), 
	CONSTRAINT fk_role_members_role_roles FOREIGN KEY(role) REFERENCES roles (name), 
	CONSTRAINT fk_role_members_user_users FOREIGN KEY(user) REFERENCES users (name)
);
INSERT INTO "role_members" VALUES('qa','ann');
INSERT INTO "role_members" VALUES('analyst','bob');
INSERT INTO "role_members" VALUES('scientist','bob');
CREATE TABLE roles (
	name VARCHAR(64) NOT NULL, 
	description TEXT NOT NULL, 
	CONSTRAINT pk_roles PRIMARY KEY (name)
);
INSERT INTO "roles" VALUES('viewer','reads the gold tables, tagged columns masked');
INSERT INTO "roles" VALUES('analyst','reads the laboratory''s tables, tagged columns masked; asks for risks');
INSERT INTO "roles" VALUES('scientist','reads, trains and submits models, tagged columns masked');
INSERT INTO "roles" VALUES('qc_lead','reads the laboratory''s tables with names of colleagues; asks for risks');
INSERT INTO "roles" VALUES('qa','reads everything in clear, reviews the audit trail, approves models');
INSERT INTO "roles" VALUES('admin','manages people, grants, tags and masks; sees tagged columns masked');
CREATE TABLE schema_proposals (
	proposal_id INTEGER NOT NULL, 
	source VARCHAR(255) NOT NULL, 
	table_name VARCHAR(64) NOT NULL, 
	column_name VARCHAR(255) NOT NULL, 
	proposed_column VARCHAR(64) NOT NULL, 
	instrument_name TEXT, 
	software TEXT, 
	first_file TEXT NOT NULL, 
	first_seen_at VARCHAR(32) NOT NULL, 
	files BIGINT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	decided_by VARCHAR(128), 
	decided_at VARCHAR(32), 
	decision_reason TEXT, 
	CONSTRAINT pk_schema_proposals PRIMARY KEY (proposal_id), 
	CONSTRAINT uq_schema_proposals_source UNIQUE (source, table_name, column_name, proposed_column), 
	CONSTRAINT ck_schema_proposals_state CHECK (state in ('proposed', 'accepted', 'rejected'))
);
INSERT INTO "schema_proposals" VALUES(1,'hplc-1','samples','Lot No','lot_id',NULL,'LIMS 2','a.txt','2026-11-29T21:40:01.761371+00:00',1,'proposed',NULL,NULL,NULL);
CREATE TABLE serving_history (
	seq INTEGER NOT NULL, 
	model_name VARCHAR(128) NOT NULL, 
	model_version VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	action VARCHAR(16) NOT NULL, 
	approval_id INTEGER NOT NULL, 
	decided_by VARCHAR(128) NOT NULL, 
	at_utc VARCHAR(32) NOT NULL, 
	reason TEXT NOT NULL, 
	CONSTRAINT pk_serving_history PRIMARY KEY (seq), 
	CONSTRAINT ck_serving_history_action CHECK (action in ('promote', 'rollback')), 
	CONSTRAINT fk_serving_history_approval_id_approvals FOREIGN KEY(approval_id) REFERENCES approvals (approval_id)
);
INSERT INTO "serving_history" VALUES(1,'oos_risk','1','7777777777777777777777777777777777777777777777777777777777777777','promote',1,'ann','2026-01-02T00:00:00.000000+00:00','go');
CREATE TABLE sessions (
	token_hash VARCHAR(64) NOT NULL, 
	user VARCHAR(64) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	last_seen_at VARCHAR(32) NOT NULL, 
	expires_at VARCHAR(32) NOT NULL, 
	revoked_at VARCHAR(32), 
	origin VARCHAR(256) NOT NULL, 
	CONSTRAINT pk_sessions PRIMARY KEY (token_hash), 
	CONSTRAINT fk_sessions_user_users FOREIGN KEY(user) REFERENCES users (name)
);
INSERT INTO "sessions" VALUES('ee0e471ec6beb3ecf94c5d1294ac5b901e44016f9cf52d98c3acfbe42d7f7044','ann','2026-11-29T21:40:01.750469+00:00','2026-11-29T21:40:01.750469+00:00','2026-11-29T22:10:01.750469+00:00',NULL,'cli');
CREATE TABLE station_progress (
	station VARCHAR(128) NOT NULL, 
	input_table VARCHAR(128) NOT NULL, 
	version BIGINT NOT NULL, 
	CONSTRAINT pk_station_progress PRIMARY KEY (station, input_table)
);
INSERT INTO "station_progress" VALUES('silver.peaks','bronze.chromatograms',4);
CREATE TABLE station_queue (
	station VARCHAR(128) NOT NULL, 
	item VARCHAR(255) NOT NULL, 
	CONSTRAINT pk_station_queue PRIMARY KEY (station, item)
);
INSERT INTO "station_queue" VALUES('silver.peaks','i1');
INSERT INTO "station_queue" VALUES('silver.peaks','i2');
CREATE TABLE table_commits (
	table_name VARCHAR(128) NOT NULL, 
	version BIGINT NOT NULL, 
	row_count BIGINT, 
	committed_at VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_table_commits PRIMARY KEY (table_name), 
	CONSTRAINT uq_table_commits_table_name UNIQUE (table_name)
);
INSERT INTO "table_commits" VALUES('bronze.files',1,NULL,'2026-11-29T21:40:01.775566+00:00');
CREATE TABLE users (
	name VARCHAR(64) NOT NULL, 
	display_name VARCHAR(255) NOT NULL, 
	password_hash TEXT NOT NULL, 
	disabled BOOLEAN NOT NULL, 
	failed_attempts INTEGER NOT NULL, 
	locked_until VARCHAR(32), 
	created_at VARCHAR(32) NOT NULL, 
	password_changed_at VARCHAR(32) NOT NULL, 
	last_sign_in_at VARCHAR(32), 
	CONSTRAINT pk_users PRIMARY KEY (name)
);
INSERT INTO "users" VALUES('ann','ann','none',0,0,NULL,'2026-11-29T21:40:01.743339+00:00','2026-11-29T21:40:01.743339+00:00',NULL);
INSERT INTO "users" VALUES('bob','bob','none',0,0,NULL,'2026-11-29T21:40:01.747662+00:00','2026-11-29T21:40:01.747662+00:00',NULL);
CREATE TRIGGER users_no_delete BEFORE DELETE ON users BEGIN SELECT RAISE(ABORT, 'users keeps its history: delete is refused'); END;
CREATE UNIQUE INDEX uq_approvals_live ON approvals (model_name, model_version) WHERE state <> 'rejected';
CREATE TRIGGER approvals_no_delete BEFORE DELETE ON approvals BEGIN SELECT RAISE(ABORT, 'approvals keeps its history: delete is refused'); END;
CREATE INDEX ix_audit_actor ON audit (actor);
CREATE INDEX ix_audit_object ON audit (object);
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit keeps its history: update is refused'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit keeps its history: delete is refused'); END;
CREATE TRIGGER audit_next_only BEFORE INSERT ON audit WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit) BEGIN SELECT RAISE(ABORT, 'audit takes only the next number'); END;
CREATE INDEX ix_sessions_user ON sessions (user);
CREATE INDEX ix_serving_history_model ON serving_history (model_name, seq);
CREATE TRIGGER serving_history_no_update BEFORE UPDATE ON serving_history BEGIN SELECT RAISE(ABORT, 'serving_history keeps its history: update is refused'); END;
CREATE TRIGGER serving_history_no_delete BEFORE DELETE ON serving_history BEGIN SELECT RAISE(ABORT, 'serving_history keeps its history: delete is refused'); END;
CREATE INDEX ix_arrivals_path ON arrivals (source, file_name);
CREATE INDEX ix_arrivals_state ON arrivals (state);
CREATE INDEX ix_arrivals_file ON arrivals (file_id);
CREATE INDEX ix_arrivals_batch ON arrivals (batch);
CREATE INDEX ix_quarantine_events_arrival ON quarantine_events (arrival_id);
COMMIT;
