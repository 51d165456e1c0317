# Events in, dead letters, outcomes. No ordering and no exactly-once delivery: versions and
# tombstones do that better (docs/consistency.md), and both would block threads.

resource "google_pubsub_topic" "events" {
  #checkov:skip=CKV_GCP_83:Google's own keys encrypt messages; they name photos and hold no picture
  name   = var.name
  labels = local.labels

  depends_on = [google_project_service.this]
}

resource "google_pubsub_subscription" "events" {
  name   = var.name
  topic  = google_pubsub_topic.events.id
  labels = local.labels

  # What a worker that vanished held comes back after this; a running one extends its leases.
  ack_deadline_seconds         = 30
  message_retention_duration   = "604800s" # 7 days
  retain_acked_messages        = false
  enable_message_ordering      = false
  enable_exactly_once_delivery = false

  expiration_policy {
    ttl = "" # never, however long nobody pulls
  }

  # Small at first, so that what a drain gives back is picked up at once elsewhere; ever longer after
  # that, so that 15 attempts outlast an hour's outage.
  retry_policy {
    minimum_backoff = "2s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = var.max_delivery_attempts
  }
}

resource "google_pubsub_topic" "dead_letters" {
  #checkov:skip=CKV_GCP_83:as the events
  name   = "${var.name}-dead-letters"
  labels = local.labels

  depends_on = [google_project_service.this]
}

# Without it dead letters would go to nobody and be gone. No dead-letter policy, for each look at a
# letter would be a delivery attempt; no retry policy, which would hide letters after each look.
resource "google_pubsub_subscription" "dead_letters" {
  name   = "${var.name}-dead-letters"
  topic  = google_pubsub_topic.dead_letters.id
  labels = local.labels

  ack_deadline_seconds         = 60
  message_retention_duration   = "2678400s" # 31 days, the most there is
  retain_acked_messages        = false
  enable_message_ordering      = false
  enable_exactly_once_delivery = false

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_topic" "outcomes" {
  #checkov:skip=CKV_GCP_83:as the events
  name   = "${var.name}-outcomes"
  labels = local.labels

  # Whoever subscribes later can seek back and see what became of last week's photos.
  message_retention_duration = "604800s"

  depends_on = [google_project_service.this]
}
