data "google_project" "this" {
  project_id = var.project

  depends_on = [google_project_service.this]
}

resource "google_project_service" "this" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "storage.googleapis.com",
  ])

  service            = each.key
  disable_on_destroy = false
}

# Apart from the others: whenever one of those changes, the project's number is read anew while the
# plan is carried out, and roles of accounts that are named by it would be taken away and given again.
resource "google_project_service" "chosen" {
  for_each = toset(concat(
    var.workers == "cloud-run" ? ["run.googleapis.com"] : [],
    var.bigquery_outcomes ? ["bigquery.googleapis.com"] : [],
  ))

  service            = each.key
  disable_on_destroy = false
}

locals {
  # Pub/Sub forwards dead letters and writes to BigQuery as this account of its own.
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"

  labels = { app = "photo-worker", environment = var.name }
}

resource "google_artifact_registry_repository" "images" {
  #checkov:skip=CKV_GCP_84:Google's own keys encrypt the image, which holds no data and no secret
  repository_id = var.name
  location      = var.region
  format        = "DOCKER"
  description   = "Images of photo-worker"
  labels        = local.labels

  docker_config {
    immutable_tags = true
  }

  depends_on = [google_project_service.this]
}
