locals {
  bucket_location   = coalesce(var.bucket_location, var.region)
  originals_bucket  = coalesce(var.originals_bucket, "${var.project}-${var.name}-originals")
  renditions_bucket = coalesce(var.renditions_bucket, "${var.project}-${var.name}-renditions")
  originals_buckets = setunion([google_storage_bucket.originals.name], var.other_originals_buckets)
}

resource "google_storage_bucket" "originals" {
  #checkov:skip=CKV_GCP_62:access logs of each download would outnumber the photos; audit logs are a project's decision
  #checkov:skip=CKV_GCP_78:soft delete below keeps what is overwritten or deleted for two weeks, without versions to clean up
  name                        = local.originals_bucket
  location                    = local.bucket_location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.destroy_buckets
  labels                      = local.labels

  # Originals cannot be made again.
  soft_delete_policy {
    retention_duration_seconds = 1209600 # 14 days
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_storage_bucket" "renditions" {
  #checkov:skip=CKV_GCP_62:as the originals
  #checkov:skip=CKV_GCP_78:renditions can be made again from their originals; a version of each replaced manifest would only cost
  name                        = local.renditions_bucket
  location                    = local.bucket_location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.destroy_buckets
  labels                      = local.labels

  # Each new version of a photo deletes ten objects, which would be paid for a week longer.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  # Tombstones, later than any message can come back: 31 days in the subscription, 31 as a dead
  # letter, 31 more once it is replayed. The same rule as deploy/bucket-lifecycle.json.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_custom_time = 100
      matches_prefix         = [var.output_prefix]
      matches_suffix         = ["/manifest.json"]
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }

  dynamic "cors" {
    for_each = length(var.cors_origins) > 0 ? [var.cors_origins] : []
    content {
      origin          = cors.value
      method          = ["GET", "HEAD"]
      response_header = ["Content-Type", "Cache-Control", "ETag"]
      max_age_seconds = 3600
    }
  }

  depends_on = [google_project_service.this]

  lifecycle {
    precondition {
      condition     = local.renditions_bucket != local.originals_bucket && !contains(var.other_originals_buckets, local.renditions_bucket)
      error_message = "Renditions need a bucket of their own: each would be notified of as if it were an original."
    }
  }
}

# Every upload is a photo.register and every deletion a photo.deregister (docs/contract.md).
resource "google_storage_notification" "originals" {
  for_each = var.notifications ? local.originals_buckets : toset([])

  bucket         = each.key
  topic          = google_pubsub_topic.events.id
  payload_format = "JSON_API_V1"
  event_types    = ["OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE"]

  depends_on = [google_pubsub_topic_iam_member.storage]
}
