# The worker: no more than `run` needs. It looks at its subscription and topics when it starts, which
# is the viewer's part; without it the first publish would be the first to find out.

resource "google_service_account" "worker" {
  account_id   = "${var.name}-worker"
  display_name = "photo-worker"

  depends_on = [google_project_service.this]
}

locals {
  worker = google_service_account.worker.member
}

resource "google_pubsub_subscription_iam_member" "worker" {
  for_each = toset(["roles/pubsub.subscriber", "roles/pubsub.viewer"])

  subscription = google_pubsub_subscription.events.id
  role         = each.key
  member       = local.worker
}

resource "google_pubsub_topic_iam_member" "worker_dead_letters" {
  for_each = toset(["roles/pubsub.publisher", "roles/pubsub.viewer"])

  topic  = google_pubsub_topic.dead_letters.id
  role   = each.key
  member = local.worker
}

resource "google_pubsub_topic_iam_member" "worker_outcomes" {
  for_each = toset(["roles/pubsub.publisher", "roles/pubsub.viewer"])

  topic  = google_pubsub_topic.outcomes.id
  role   = each.key
  member = local.worker
}

resource "google_storage_bucket_iam_member" "worker_originals" {
  for_each = local.originals_buckets

  bucket = each.key
  role   = "roles/storage.objectViewer"
  member = local.worker
}

resource "google_storage_bucket_iam_member" "worker_renditions" {
  bucket = google_storage_bucket.renditions.name
  role   = "roles/storage.objectUser"
  member = local.worker
}

resource "google_artifact_registry_repository_iam_member" "worker" {
  repository = google_artifact_registry_repository.images.name
  location   = google_artifact_registry_repository.images.location
  role       = "roles/artifactregistry.reader"
  member     = local.worker
}

# What the machine's own agent writes.
resource "google_project_iam_member" "worker" {
  for_each = toset(["roles/logging.logWriter", "roles/monitoring.metricWriter"])

  project = var.project
  role    = each.key
  member  = local.worker
}

# Google's own accounts. Without the first two Pub/Sub can move nothing to the dead-letter topic, and
# would deliver a poisoned message for ever.

resource "google_pubsub_topic_iam_member" "pubsub_dead_letters" {
  topic  = google_pubsub_topic.dead_letters.id
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "pubsub_events" {
  subscription = google_pubsub_subscription.events.id
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

data "google_storage_project_service_account" "this" {
  project = var.project

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic_iam_member" "storage" {
  topic  = google_pubsub_topic.events.id
  role   = "roles/pubsub.publisher"
  member = data.google_storage_project_service_account.this.member
}

# People and other programs.

resource "google_pubsub_topic_iam_member" "publishers" {
  for_each = var.publishers

  topic  = google_pubsub_topic.events.id
  role   = "roles/pubsub.publisher"
  member = each.key
}

resource "google_storage_bucket_iam_member" "readers" {
  for_each = var.readers

  bucket = google_storage_bucket.renditions.name
  role   = "roles/storage.objectViewer"
  member = each.key
}

# Operators: hold and ack dead letters, publish them again, look at originals, sweep renditions.

resource "google_pubsub_subscription_iam_member" "operators" {
  for_each = { for pair in setproduct(var.operators, ["subscriber", "viewer"]) : join(" ", pair) => pair }

  subscription = google_pubsub_subscription.dead_letters.id
  role         = "roles/pubsub.${each.value[1]}"
  member       = each.value[0]
}

resource "google_pubsub_topic_iam_member" "operators" {
  for_each = { for pair in setproduct(var.operators, ["publisher", "viewer"]) : join(" ", pair) => pair }

  topic  = google_pubsub_topic.events.id
  role   = "roles/pubsub.${each.value[1]}"
  member = each.value[0]
}

resource "google_storage_bucket_iam_member" "operators_originals" {
  for_each = { for pair in setproduct(var.operators, local.originals_buckets) : join(" ", pair) => pair }

  bucket = each.value[1]
  role   = "roles/storage.objectViewer"
  member = each.value[0]
}

resource "google_storage_bucket_iam_member" "operators_renditions" {
  for_each = var.operators

  bucket = google_storage_bucket.renditions.name
  role   = "roles/storage.objectUser"
  member = each.key
}
