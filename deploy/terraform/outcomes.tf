# One row for each outcome. No schema on the topic: Avro's JSON wants nullable fields wrapped, which
# no other reader of outcomes would expect. The whole manifest, which is no column, is dropped here;
# it lies in the bucket.

resource "google_bigquery_dataset" "outcomes" {
  count = var.bigquery_outcomes ? 1 : 0

  #checkov:skip=CKV_GCP_81:Google's own keys encrypt it; it names photos and holds no picture
  dataset_id                 = replace(var.name, "-", "_")
  location                   = local.bucket_location
  description                = "What became of photos"
  labels                     = local.labels
  delete_contents_on_destroy = var.destroy_buckets

  depends_on = [google_project_service.chosen]
}

resource "google_bigquery_table" "outcomes" {
  count = var.bigquery_outcomes ? 1 : 0

  #checkov:skip=CKV_GCP_80:as its dataset
  #checkov:skip=CKV_GCP_121:protected by destroy_buckets, as the buckets are
  dataset_id          = google_bigquery_dataset.outcomes[0].dataset_id
  table_id            = "outcomes"
  description         = "One row for each outcome; duplicates share a commit_id"
  labels              = local.labels
  deletion_protection = !var.destroy_buckets
  clustering          = ["photo_id"]

  time_partitioning {
    type  = "DAY"
    field = "committed_at"
  }

  schema = file("${path.module}/outcomes.schema.json")
}

resource "google_bigquery_dataset_iam_member" "pubsub" {
  count = var.bigquery_outcomes ? 1 : 0

  dataset_id = google_bigquery_dataset.outcomes[0].dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = local.pubsub_agent
}

resource "google_pubsub_subscription" "outcomes" {
  count = var.bigquery_outcomes ? 1 : 0

  name                       = "${var.name}-outcomes-bigquery"
  topic                      = google_pubsub_topic.outcomes.id
  labels                     = local.labels
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  bigquery_config {
    table               = "${var.project}.${google_bigquery_table.outcomes[0].dataset_id}.${google_bigquery_table.outcomes[0].table_id}"
    use_table_schema    = true
    drop_unknown_fields = true
  }

  depends_on = [google_bigquery_dataset_iam_member.pubsub]
}
