output "repository" {
  description = "Where images are pushed to."
  value       = "${google_artifact_registry_repository.images.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}

output "topic" {
  description = "Where events are published to."
  value       = google_pubsub_topic.events.id
}

output "outcome_topic" {
  description = "Where outcomes are published."
  value       = google_pubsub_topic.outcomes.id
}

output "originals_bucket" {
  description = "Where originals are uploaded to."
  value       = google_storage_bucket.originals.name
}

output "renditions_bucket" {
  description = "Where renditions and manifests lie."
  value       = google_storage_bucket.renditions.name
}

output "worker_service_account" {
  description = "Who the workers are; grant it what further buckets need."
  value       = google_service_account.worker.email
}

output "operator_environment" {
  description = "The environment of an operator's shell, for dead-letters, register (of what lies in a bucket), backfill, sweep and verify."
  value = join("\n", [for name, value in merge(local.environment, {
    WORKER_TOPIC                    = google_pubsub_topic.events.id
    WORKER_DEAD_LETTER_SUBSCRIPTION = google_pubsub_subscription.dead_letters.id
    WORKER_LOG_FORMAT               = "auto"
  }) : "export ${name}='${value}'"])
}

output "dashboard" {
  description = "The dashboard's address."
  value       = "https://console.cloud.google.com/monitoring/dashboards/builder/${try(split("/", google_monitoring_dashboard.this.id)[3], "")}?project=${var.project}"
}
